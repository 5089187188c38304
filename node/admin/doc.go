// Package admin is the administration interface of a replica: HTTP with JSON over a Unix socket in the replica's home,
// which only the owner of the home may open. It has the state of the replica for operators, profiles, and the log. It is
// never served on a network.
//
// The socket is in a directory with mode 0700 and has mode 0600 itself. A process that replaced the replica's user could
// read the keys in the home as well, so there is no further authentication.
//
// Connections, requests, answers and their times are bounded, so an operator's script cannot disturb the replica by many
// requests. All paths begin with /v1/. docs/debug.md has the commands and the schema of the answers.
package admin
