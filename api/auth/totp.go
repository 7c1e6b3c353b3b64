package auth

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238 as the devices implement it; HMAC-SHA-1 is not broken
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// totpStep is how long a one-time code holds.
const totpStep = 30 * time.Second

// totpCode is the code of a time step (RFC 4226, six digits).
func totpCode(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes all
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:])&0x7fffffff)%1_000_000)
}

// TOTPStep finds the time step that a code is of: the present one, or one beside it, as clocks differ.
func TOTPStep(secret []byte, code string, now time.Time) (step int64, ok bool) {
	present := now.Unix() / int64(totpStep/time.Second)
	for _, at := range []int64{present - 1, present, present + 1} {
		if subtle.ConstantTimeCompare([]byte(totpCode(secret, at)), []byte(code)) == 1 {
			step, ok = at, true
		}
	}
	return step, ok
}

// TOTPSecret is a secret as people type it.
func TOTPSecret(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// TOTPURI is a secret as programs read it from a picture.
func TOTPURI(secret []byte, user string) string {
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/Muster:" + user}
	u.RawQuery = url.Values{"secret": {TOTPSecret(secret)}, "issuer": {"Muster"}}.Encode()
	return u.String()
}
