package sig

import (
	stded25519 "crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hdevalence/ed25519consensus"
)

// other verifies with another implementation of ZIP-215.
func other(it Check) bool { return ed25519consensus.Verify(it.Key[:], it.Message, it.Signature[:]) }

// agree fails unless both implementations, and single and batch verification, give the same result, which it returns.
func agree(t *testing.T, s *Ed25519, it Check) bool {
	t.Helper()
	got := s.Verify(it)
	if want := other(it); got != want {
		t.Fatalf("key %x, message %x, signature %x: %v, the other implementation returns %v", it.Key, it.Message, it.Signature, got, want)
	}
	if all := s.VerifyAll([]Check{it, it}); all != got {
		t.Fatalf("key %x, signature %x: verified alone %v, in a batch %v", it.Key, it.Signature, got, all)
	}
	return got
}

func makeKey(t testing.TB, i int) *Ed25519Key {
	t.Helper()
	seed := make([]byte, SeedSize)
	seed[0], seed[1] = byte(i), byte(i>>8)
	k, err := Ed25519FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestAgreesWithAnotherImplementation tries valid signatures, and ones with one bit changed anywhere.
func TestAgreesWithAnotherImplementation(t *testing.T) {
	s := NewEd25519()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		k := makeKey(t, i%7)
		m := make([]byte, rng.IntN(100))
		for j := range m {
			m[j] = byte(rng.Uint32())
		}
		good := Check{Key: k.Public(), Message: m, Signature: k.Sign(m)}
		if !agree(t, s, good) || !stded25519.Verify(good.Key[:], m, good.Signature[:]) {
			t.Fatal("a valid signature does not verify")
		}
		bad := good
		switch bit := rng.IntN(8); i % 3 {
		case 0:
			bad.Signature[rng.IntN(SignatureSize)] ^= 1 << bit
		case 1:
			bad.Key[rng.IntN(PublicKeySize)] ^= 1 << bit
		default:
			bad.Message = append(slices.Clone(m), byte(bit))
		}
		if agree(t, s, bad) {
			t.Fatalf("%d: a signature verifies although a bit was changed", i)
		}
	}
}

// smallOrder are all encodings of the points of small order, canonical or not.
var smallOrder = func() (out [][32]byte) {
	for _, text := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		raw, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		out = append(out, [32]byte(raw))
	}
	return out
}()

// TestRulesOfZIP215: with s = 0, every pair of points of small order is a valid signature on any message.
// Implementations, and batch and single verification, usually differ exactly in these cases; here they must not.
func TestRulesOfZIP215(t *testing.T) {
	s := NewEd25519()
	stricter := 0
	var checks []Check
	for _, a := range smallOrder {
		for _, r := range smallOrder {
			it := Check{Key: a, Message: []byte("anything")}
			copy(it.Signature[:], r[:])
			if !agree(t, s, it) {
				t.Errorf("key %x, point %x: does not verify", a, r)
			}
			if !stded25519.Verify(it.Key[:], it.Message, it.Signature[:]) {
				stricter++
			}
			checks = append(checks, it)
		}
	}
	if !s.VerifyAll(checks) {
		t.Error("the batch of all of them does not verify")
	}
	if stricter == 0 {
		t.Error("the standard library accepts all of them, so they are not edge cases")
	}
}

// TestSignatureIsNotMalleable: s and s + L, L being the group order, must not both be valid signatures by one key on
// one message.
func TestSignatureIsNotMalleable(t *testing.T) {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	k := makeKey(t, 1)
	it := Check{Key: k.Public(), Message: []byte("pay"), Signature: k.Sign([]byte("pay"))}
	little := slices.Clone(it.Signature[32:])
	slices.Reverse(little)
	sum := new(big.Int).Add(new(big.Int).SetBytes(little), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	copy(it.Signature[32:], sum)
	if agree(t, NewEd25519(), it) {
		t.Error("a second form of a signature verifies")
	}
}

// TestOneBadAmongMany: a batch with one invalid signature at any index does not verify.
func TestOneBadAmongMany(t *testing.T) {
	s := NewEd25519()
	if !s.VerifyAll(nil) {
		t.Error("an empty batch does not verify")
	}
	for _, n := range []int{1, 2, 5, 40} {
		checks := make([]Check, n)
		for i := range checks {
			k, m := makeKey(t, i%3), fmt.Appendf(nil, "message %d", i)
			checks[i] = Check{Key: k.Public(), Message: m, Signature: k.Sign(m)}
		}
		if !s.VerifyAll(checks) {
			t.Fatalf("%d valid signatures do not verify", n)
		}
		for i := range checks {
			checks[i].Signature[40] ^= 1
			if s.VerifyAll(checks) {
				t.Errorf("signature %d of %d is invalid, but the batch verifies", i, n)
			}
			checks[i].Signature[40] ^= 1
		}
	}
}

// TestKeys: a seed always gives the same key, and the standard library derives the same public key from it.
func TestKeys(t *testing.T) {
	k := makeKey(t, 3)
	again, err := Ed25519FromSeed(k.Seed())
	if err != nil || again.Public() != k.Public() || again.Sign(nil) != k.Sign(nil) {
		t.Errorf("the same seed gives another key: %v", err)
	}
	if want := stded25519.NewKeyFromSeed(k.Seed()).Public().(stded25519.PublicKey); !slices.Equal(want, k.public[:]) {
		t.Errorf("key %s, the standard library derives %x", k.Public(), want)
	}
	if _, err := Ed25519FromSeed(k.Seed()[1:]); err == nil {
		t.Error("a short seed is accepted")
	}
	if _, err := GenerateEd25519(strings.NewReader("too short")); err == nil {
		t.Error("a key is made from too little randomness")
	}
	k.Seed()[0] ^= 1 // Seed returned a copy, so this must not change the key
	if again.Sign(nil) != k.Sign(nil) {
		t.Error("Seed returned the key's own memory")
	}
}

// TestSecretsAreNotPrinted: no formatting verb prints any part of the secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	k := makeKey(t, 0x5a5a)
	secret := hex.EncodeToString(k.Seed())[:16]
	holder := struct{ Key *Ed25519Key }{k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{k, holder, []*Ed25519Key{k}} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, secret) || strings.Contains(text, "90 90 0 0") {
				t.Errorf("%s of %T shows the secret: %s", verb, v, text)
			}
		}
	}
}

func TestPublicKeyText(t *testing.T) {
	k := makeKey(t, 1).Public()
	text, err := k.MarshalText()
	var back PublicKey
	if err != nil || back.UnmarshalText(text) != nil || back != k {
		t.Errorf("%s is decoded as %s", k, back)
	}
	for _, wrong := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64)} {
		if back.UnmarshalText([]byte(wrong)) == nil {
			t.Errorf("%q is parsed as a key", wrong)
		}
	}
}

// TestIdeal: a signature of the ideal scheme verifies only for its key, its message and its scheme.
func TestIdeal(t *testing.T) {
	s, elsewhere := NewIdeal(1), NewIdeal(2)
	a, b := s.Signer(1), s.Signer(2)
	m := []byte("message")
	good := Check{Key: a.Public(), Message: m, Signature: a.Sign(m)}
	if !s.Verify(good) || !s.VerifyAll([]Check{good, good}) || !s.VerifyAll(nil) {
		t.Error("a valid signature does not verify")
	}
	for name, bad := range map[string]Check{
		"another message": {Key: a.Public(), Message: []byte("messagf"), Signature: good.Signature},
		"another key":     {Key: b.Public(), Message: m, Signature: good.Signature},
		"another scheme":  {Key: a.Public(), Message: m, Signature: elsewhere.Signer(1).Sign(m)},
		"none":            {Key: a.Public(), Message: m},
	} {
		if s.Verify(bad) || s.VerifyAll([]Check{good, bad}) {
			t.Errorf("%s: verifies", name)
		}
	}
}

// FuzzAgrees searches for an input on which the two implementations, or single and batch verification, differ.
func FuzzAgrees(f *testing.F) {
	k := makeKey(f, 1)
	pub, signature := k.Public(), k.Sign([]byte("m"))
	f.Add(pub[:], signature[:], []byte("m"))
	for i, p := range smallOrder {
		f.Add(p[:], append(slices.Clone(smallOrder[(i+3)%len(smallOrder)][:]), make([]byte, 32)...), []byte{})
	}
	s := NewEd25519()
	f.Fuzz(func(t *testing.T, key, signature, m []byte) {
		if len(key) == PublicKeySize && len(signature) == SignatureSize {
			agree(t, s, Check{Key: PublicKey(key), Message: m, Signature: Signature(signature)})
		}
	})
}
