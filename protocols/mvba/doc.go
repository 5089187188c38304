// Package mvba is validated agreement on one of many proposed values, without any assumption on time: sMVBA of
// Guo, Lu, Lu, Tang, Xu and Zhang (Speeding Dumbo, eprint 2022/027, section 5), as a pure state machine for one
// replica and one instance.
package mvba
