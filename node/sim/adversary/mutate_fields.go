package adversary

import (
	"math/rand/v2"
	"reflect"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// field is an exported field of a message or of a value at any depth in it. Elements of a list share one name.
type field struct {
	name  string
	value reflect.Value
	owner reflect.Value // the struct that has it
}

var (
	setType = reflect.TypeFor[protocols.Set]()
	txType  = reflect.TypeFor[ledger.Tx]() // clients make and sign it
)

// fieldsIn lists the fields that can be changed in the value that p points to.
func fieldsIn(p any) []field {
	v := reflect.ValueOf(p)
	var all []field
	collect(v.Elem(), v.Type().Elem().String(), reflect.Value{}, &all)
	return all
}

func collect(v reflect.Value, name string, owner reflect.Value, all *[]field) {
	switch {
	case v.Type() == txType:
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			collect(v.Elem(), name, owner, all)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				collect(v.Field(i), name+"."+f.Name, v, all)
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		*all = append(*all, field{name, v, owner})
		for i := range v.Len() {
			collect(v.Index(i), name+"[]", reflect.Value{}, all)
		}
	default:
		*all = append(*all, field{name, v, owner})
	}
}

// change gives the field another value: a near one, an extreme one, a random one, or that of another message. It
// reports whether it did. Lists whose lengths belong together keep equal lengths, because other values cannot be
// encoded.
func (f *field) change(rng *rand.Rand, earlier *field) bool {
	if earlier != nil && rng.IntN(4) == 0 {
		f.value.Set(earlier.value)
		f.fit()
		return true
	}
	v := f.value
	switch {
	case v.Type() == setType:
		set := v.Addr().Interface().(*protocols.Set)
		i := protocols.Index(rng.IntN(8))
		if members := set.Members(); len(members) > 0 && rng.IntN(2) == 0 {
			set.Remove(members[rng.IntN(len(members))])
		} else if !set.Add(i) {
			set.Remove(i)
		}
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanUint():
		changeNumber(rng, v)
	case v.Kind() == reflect.Array:
		changeBytes(rng, v)
	case v.Kind() == reflect.Slice:
		return changeList(rng, v) && f.fit()
	default:
		return false
	}
	return f.fit()
}

func changeNumber(rng *rand.Rand, v reflect.Value) {
	most := ^uint64(0) >> (64 - v.Type().Bits())
	x := []uint64{0, v.Uint() + 1, v.Uint() - 1, most, 1 << (v.Type().Bits() - 1), rng.Uint64(), rng.Uint64N(10)}[rng.IntN(7)]
	v.SetUint(x & most)
}

func changeBytes(rng *rand.Rand, v reflect.Value) {
	if v.Len() == 0 {
		return
	}
	at := v.Index(rng.IntN(v.Len()))
	switch rng.IntN(4) {
	case 0:
		v.SetZero()
	case 1:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rng.IntN(256)))
		}
	default:
		at.SetUint(at.Uint() ^ 1<<rng.IntN(8))
	}
}

// changeList shortens a list, lengthens it, or replaces its elements by others of the same type.
func changeList(rng *rand.Rand, v reflect.Value) bool {
	n := v.Len()
	bytes := v.Type().Elem().Kind() == reflect.Uint8
	zero := reflect.Zero(v.Type().Elem())
	pointers := zero.Kind() == reflect.Pointer
	if n == 0 {
		if pointers {
			return false
		}
		v.Set(reflect.Append(v, zero))
		return true
	}
	switch rng.IntN(6) {
	case 0:
		v.Set(v.Slice(0, n-1))
	case 1:
		v.SetZero()
	case 2:
		i, j := rng.IntN(n), rng.IntN(n)
		reflect.Swapper(v.Interface())(i, j)
	case 3:
		v.Set(reflect.Append(clipped(v), v.Index(rng.IntN(n))))
	case 4:
		if pointers {
			v.Set(reflect.AppendSlice(clipped(v), v))
		} else {
			v.Set(reflect.Append(clipped(v), zero))
		}
	default:
		if bytes {
			changeBytes(rng, v)
		} else {
			v.Set(v.Slice(rng.IntN(n), n))
		}
	}
	return true
}

func clipped(v reflect.Value) reflect.Value { return v.Slice3(0, v.Len(), v.Len()) }

// fit gives a set and the lists beside it one length: that of the changed field. It reports true.
func (f *field) fit() bool {
	if !f.owner.IsValid() {
		return true
	}
	var set *protocols.Set
	for i := range f.owner.NumField() {
		if v := f.owner.Field(i); v.Type() == setType {
			set = v.Addr().Interface().(*protocols.Set)
		}
	}
	if set == nil {
		return true
	}
	n := set.Len()
	if f.value.Kind() == reflect.Slice {
		n = f.value.Len()
	}
	for i := range protocols.Index(protocols.MaxReplicas) {
		if set.Len() < n {
			set.Add(i)
		}
	}
	for members := set.Members(); len(members) > n; members = members[:len(members)-1] {
		set.Remove(members[len(members)-1])
	}
	for i := range f.owner.NumField() {
		if v := f.owner.Field(i); v.Kind() == reflect.Slice && len(f.owner.Type().Field(i).PkgPath) == 0 {
			for v.Len() < n {
				v.Set(reflect.Append(clipped(v), reflect.Zero(v.Type().Elem())))
			}
			v.Set(v.Slice(0, n))
		}
	}
	return true
}
