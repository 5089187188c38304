package coin

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/gtank/ristretto255"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// KeySize is the length in bytes of a verification key and of a secret key.
const KeySize = 32

// PublicKey is the key that verifies the shares of one replica, in the canonical ristretto255 encoding.
type PublicKey [KeySize]byte

// String is the key in lower-case hexadecimal.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText gives the result of String.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the output of String. It returns an error for any other length and for characters that are not
// hexadecimal.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) != 2*KeySize {
		return fmt.Errorf("coin key %q has %d characters, want %d hexadecimal ones", text, len(text), 2*KeySize)
	}
	_, err := hex.Decode(k[:], text)
	return err
}

// DH is the production coin of one shard. It is made by [NewDH].
type DH struct {
	threshold int
	public    []PublicKey
	keys      []*ristretto255.Element
}

// NewDH makes the coin from the verification keys of all replicas, in the order of their index, and the number of shares
// that determine a value. It returns an error if a key is not canonical or is the identity, or if the keys do not lie on
// one polynomial of degree threshold-1: then different shares would give different values.
func NewDH(public []PublicKey, threshold int) (*DH, error) {
	if len(public) > protocols.MaxReplicas || threshold < 1 || threshold > len(public) {
		return nil, fmt.Errorf("%d coin keys with threshold %d: want a threshold from 1 to the number of keys, and at most %d keys",
			len(public), threshold, protocols.MaxReplicas)
	}
	d := &DH{threshold: threshold, public: append([]PublicKey(nil), public...)}
	identity := ristretto255.NewIdentityElement()
	for i, p := range public {
		e, err := ristretto255.NewIdentityElement().SetCanonicalBytes(p[:])
		if err != nil {
			return nil, fmt.Errorf("coin key %d (%s) is not a group element: %w", i, p, err)
		}
		if e.Equal(identity) == 1 {
			return nil, fmt.Errorf("coin key %d is the identity", i)
		}
		d.keys = append(d.keys, e)
	}
	if !d.consistent() {
		return nil, fmt.Errorf("the %d coin keys do not come from one dealing with threshold %d", len(public), threshold)
	}
	return d, nil
}

// consistent tests whether the keys lie on a polynomial p of degree below threshold. If they do, the sum of
// m(i)·p(i)/Π(i-j) is zero for a random m of degree below n-threshold; if they do not, the sum is zero only with
// negligible probability (the dual code; Cascudo and David, SCRAPE, section 2.1). The hash of the keys chooses m.
func (d *DH) consistent() bool {
	n := len(d.keys)
	if n == d.threshold {
		return true
	}
	seed := wire.AppendU16(nil, uint16(d.threshold))
	for _, p := range d.public {
		seed = append(seed, p[:]...)
	}
	m := make([]*ristretto255.Scalar, n-d.threshold)
	for k := range m {
		m[k] = hashScalar("bdt/coin-keys", seed, wire.AppendU16(nil, uint16(k)))
	}
	weights := make([]*ristretto255.Scalar, n)
	for i := range weights {
		x := small(i + 1)
		y := ristretto255.NewScalar()
		for k := len(m) - 1; k >= 0; k-- {
			y.Multiply(y, x).Add(y, m[k])
		}
		below := small(1)
		for j := range n {
			if j != i {
				below.Multiply(below, ristretto255.NewScalar().Subtract(x, small(j+1)))
			}
		}
		weights[i] = y.Multiply(y, below.Invert(below))
	}
	sum := ristretto255.NewIdentityElement().VarTimeMultiScalarMult(weights, d.keys)
	return sum.Equal(ristretto255.NewIdentityElement()) == 1
}

// Threshold is the number of shares that determine a value.
func (d *DH) Threshold() int { return d.threshold }

// N is the number of keys.
func (d *DH) N() int { return len(d.keys) }

// Verify checks the proof that the discrete logarithm of the share to base H(statement) equals that of the key of i to
// base G.
func (d *DH) Verify(i protocols.Index, statement []byte, s Share) bool {
	if int(i) >= len(d.keys) {
		return false
	}
	point, err := ristretto255.NewIdentityElement().SetCanonicalBytes(s[:32])
	if err != nil {
		return false
	}
	c, err := ristretto255.NewScalar().SetCanonicalBytes(s[32:64])
	if err != nil {
		return false
	}
	z, err := ristretto255.NewScalar().SetCanonicalBytes(s[64:])
	if err != nil {
		return false
	}
	minus := ristretto255.NewScalar().Negate(c)
	a := ristretto255.NewIdentityElement().VarTimeDoubleScalarBaseMult(minus, d.keys[i], z)
	b := ristretto255.NewIdentityElement().VarTimeMultiScalarMult(
		[]*ristretto255.Scalar{z, minus}, []*ristretto255.Element{base(statement), point})
	return challenge(i, statement, d.public[i], s[:32], a, b).Equal(c) == 1
}

// Combine interpolates the points of the shares at zero and hashes the result.
func (d *DH) Combine(statement []byte, shares *Shares) (Value, error) {
	if len(shares.Shares) < d.threshold {
		return Value{}, fmt.Errorf("%d coin shares, want %d", len(shares.Shares), d.threshold)
	}
	holders := shares.Holders.Members()[:d.threshold]
	points := make([]*ristretto255.Element, d.threshold)
	weights := make([]*ristretto255.Scalar, d.threshold)
	for k, i := range holders {
		p, err := ristretto255.NewIdentityElement().SetCanonicalBytes(shares.Shares[k][:32])
		if err != nil || int(i) >= len(d.keys) {
			return Value{}, fmt.Errorf("the coin share of replica %d was not verified", i)
		}
		points[k] = p
		above, below := small(1), small(1) // λ_i = Π j/(j-i), at x = index+1
		for _, j := range holders {
			if j != i {
				above.Multiply(above, small(int(j)+1))
				below.Multiply(below, ristretto255.NewScalar().Subtract(small(int(j)+1), small(int(i)+1)))
			}
		}
		weights[k] = above.Multiply(above, below.Invert(below))
	}
	sum := ristretto255.NewIdentityElement().VarTimeMultiScalarMult(weights, points)
	return Value(digest.Of("bdt/coin-value/1", wire.AppendBytes(nil, statement), sum.Bytes())), nil
}

// Secret is the share of one replica in the dealt secret. Formatted output never contains it.
type Secret struct {
	index  protocols.Index
	scalar *ristretto255.Scalar
	public PublicKey
}

// NewSecret makes the key of replica i from the [KeySize] bytes of [Secret.Bytes]. It returns an error for another length,
// a scalar that is not canonical, and zero.
func NewSecret(i protocols.Index, bytes []byte) (*Secret, error) {
	if len(bytes) != KeySize {
		return nil, fmt.Errorf("a coin secret has %d bytes, not %d", KeySize, len(bytes))
	}
	x, err := ristretto255.NewScalar().SetCanonicalBytes(bytes)
	if err != nil || x.Equal(ristretto255.NewScalar()) == 1 {
		return nil, errors.New("the coin secret is not a canonical scalar above 0, restore the key file from a copy")
	}
	return newSecret(i, x), nil
}

func newSecret(i protocols.Index, x *ristretto255.Scalar) *Secret {
	s := &Secret{index: i, scalar: x}
	copy(s.public[:], ristretto255.NewIdentityElement().ScalarBaseMult(x).Bytes())
	return s
}

// Index is the replica that the secret belongs to.
func (s *Secret) Index() protocols.Index { return s.index }

// Public is the key that verifies the shares of this replica.
func (s *Secret) Public() PublicKey { return s.public }

// Bytes is the secret itself in [KeySize] bytes, for a key file.
func (s *Secret) Bytes() []byte { return s.scalar.Bytes() }

// Equal reports, in constant time, whether both are the same secret of the same replica.
func (s *Secret) Equal(o *Secret) bool {
	return s.index == o.index && subtle.ConstantTimeCompare(s.Bytes(), o.Bytes()) == 1
}

// Share computes the share and its proof. Its time does not depend on the secret.
func (s *Secret) Share(statement []byte) Share {
	h := base(statement)
	point := ristretto255.NewIdentityElement().ScalarMult(s.scalar, h)
	k := hashScalar("bdt/coin-nonce", s.scalar.Bytes(), statement)
	a := ristretto255.NewIdentityElement().ScalarBaseMult(k)
	b := ristretto255.NewIdentityElement().ScalarMult(k, h)
	var out Share
	copy(out[:32], point.Bytes())
	c := challenge(s.index, statement, s.public, out[:32], a, b)
	z := ristretto255.NewScalar().Multiply(c, s.scalar)
	copy(out[32:64], c.Bytes())
	copy(out[64:], z.Add(z, k).Bytes())
	return out
}

// String keeps the secret out of formatted output.
func (s *Secret) String() string { return "coin.Secret(" + s.public.String() + ")" }

// GoString keeps the secret out of formatted output.
func (s *Secret) GoString() string { return s.String() }

// Format keeps the secret out of the output of every verb, also of verbs that print fields.
func (s *Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// base is H(statement), the point that a toss multiplies by the secret. Nobody knows its discrete logarithm to base G.
func base(statement []byte) *ristretto255.Element {
	e, err := ristretto255.NewIdentityElement().SetUniformBytes(wide("bdt/coin-base", statement))
	if err != nil {
		panic(fmt.Sprintf("coin: hash to group: %v", err)) // cannot happen: the input has 64 bytes
	}
	return e
}

// challenge is the challenge of a proof. It covers all inputs of the proof, so the proof is valid for no others.
func challenge(i protocols.Index, statement []byte, key PublicKey, point []byte, a, b *ristretto255.Element) *ristretto255.Scalar {
	return hashScalar("bdt/coin-proof", wire.AppendU16(nil, uint16(i)), wire.AppendBytes(nil, statement),
		key[:], point, a.Bytes(), b.Bytes())
}

// hashScalar hashes to a uniformly distributed scalar.
func hashScalar(tag string, parts ...[]byte) *ristretto255.Scalar {
	x, err := ristretto255.NewScalar().SetUniformBytes(wide(tag, parts...))
	if err != nil {
		panic(fmt.Sprintf("coin: hash to scalar: %v", err)) // cannot happen: the input has 64 bytes
	}
	return x
}

// wide is 64 bytes from two hashes with different tags.
func wide(tag string, parts ...[]byte) []byte {
	lo, hi := digest.Of(tag+"-0/1", parts...), digest.Of(tag+"-1/1", parts...)
	return append(lo[:], hi[:]...)
}

// small is v ≥ 0 as a scalar.
func small(v int) *ristretto255.Scalar {
	var le [32]byte
	for k := 0; v > 0; k, v = k+1, v>>8 {
		le[k] = byte(v)
	}
	x, err := ristretto255.NewScalar().SetCanonicalBytes(le[:])
	if err != nil {
		panic(fmt.Sprintf("coin: a small scalar: %v", err)) // every value below 2^252 is canonical
	}
	return x
}
