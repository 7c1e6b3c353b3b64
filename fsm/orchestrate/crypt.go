package orchestrate

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// cryptAlphabet is the order of digits that crypt(3) uses.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// cryptRounds is the default of SHA-crypt, which is not written into the hash.
const cryptRounds = 5000

// passwordHash is the crypt hash of a password that an application declares in clear. The same password of the same
// user gets the same salt, so that applying it again changes nothing; the salt is made with the organization's
// secret key, so that it tells nothing about the password.
func passwordHash(r state.Reader, orgID, user, password string) (string, error) {
	key, ok := state.Get[model.OrgKey](r, orgID)
	if !ok {
		return "", model.Errorf(model.Internal, "the organization has no key to make a salt with")
	}
	mac := hmac.New(sha256.New, key.Seed)
	mac.Write([]byte("salt\x00" + user + "\x00" + password))
	salt := mac.Sum(nil)[:16]
	for i, b := range salt {
		salt[i] = cryptAlphabet[b&63]
	}
	return "$6$" + string(salt) + "$" + sha512Crypt([]byte(password), salt), nil
}

// sha512Crypt is the digest part of SHA-crypt with SHA-512 and the default rounds, as U. Drepper's
// specification of 2007 has it; salt has at most 16 bytes.
func sha512Crypt(password, salt []byte) string {
	alternate := sha512.Sum512(join(password, salt, password))
	first := sha512.New()
	first.Write(join(password, salt, repeat(alternate[:], len(password))))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			first.Write(alternate[:])
		} else {
			first.Write(password)
		}
	}
	digest := first.Sum(nil)

	sum := sha512.New()
	for range password {
		sum.Write(password)
	}
	p := repeat(sum.Sum(nil), len(password))
	sum.Reset()
	for range 16 + int(digest[0]) {
		sum.Write(salt)
	}
	s := repeat(sum.Sum(nil), len(salt))

	for i := range cryptRounds {
		sum.Reset()
		odd, even := digest, p
		if i&1 == 1 {
			odd, even = p, digest
		}
		sum.Write(odd)
		if i%3 != 0 {
			sum.Write(s)
		}
		if i%7 != 0 {
			sum.Write(p)
		}
		sum.Write(even)
		digest = sum.Sum(nil)
	}
	return cryptEncode(digest)
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// repeat is the first n bytes of b over and over.
func repeat(b []byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b[i%len(b)]
	}
	return out
}

// cryptEncode writes a digest of 64 bytes in crypt's digits: three bytes at a time, in the specification's order.
func cryptEncode(d []byte) string {
	var out []byte
	put := func(v uint, digits int) {
		for range digits {
			out = append(out, cryptAlphabet[v&63])
			v >>= 6
		}
	}
	a, b, c := 0, 21, 42
	for range 21 {
		put(uint(d[a])<<16|uint(d[b])<<8|uint(d[c]), 4)
		a, b, c = b+1, c+1, a+1
	}
	put(uint(d[63]), 2)
	return string(out)
}
