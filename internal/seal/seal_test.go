package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const name = "shop/password/3"

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	key := NewKey()
	for _, plaintext := range []string{"", "s3cret", strings.Repeat("x", 1<<20), "\x00\xff"} {
		text := key.Seal([]byte(plaintext), name)
		if plaintext != "" && strings.Contains(text, plaintext) {
			t.Error("the text shows what it holds")
		}
		opened, err := key.Open(text, name)
		if err != nil || string(opened) != plaintext {
			t.Errorf("opened %d bytes of %d: %v", len(opened), len(plaintext), err)
		}
	}
	if once := key.Seal([]byte("same"), name); once == key.Seal([]byte("same"), name) {
		t.Error("sealing twice gives the same text")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	key := NewKey()
	text := key.Seal([]byte("s3cret"), name)
	damaged := []byte(text)
	if at := len(damaged) - 5; damaged[at] == 'A' { // still base64
		damaged[at] = 'B'
	} else {
		damaged[at] = 'A'
	}
	for what, test := range map[string]struct {
		key        Key
		text, name string
		notOurs    bool
	}{
		"another key":     {NewKey(), text, name, true},
		"another version": {key, text, "shop/password/4", true},
		"another app":     {key, text, "bank/password/3", true},
		"damaged":         {key, string(damaged), name, true},
		"cut short":       {key, prefix + base64.StdEncoding.EncodeToString([]byte("short")), name, true},
		"no base64":       {key, prefix + "~", name, false},
		"plain":           {key, "s3cret", name, false},
		"empty":           {key, "", name, false},
		"no key":          {Key{}, text, name, false},
	} {
		opened, err := test.key.Open(test.text, test.name)
		if err == nil || opened != nil || errors.Is(err, ErrNotOurs) != test.notOurs || strings.Contains(fmt.Sprint(err), "s3cret") {
			t.Errorf("%s: %q, %v", what, opened, err)
		}
	}
}

func TestKeyIsKept(t *testing.T) {
	t.Parallel()
	key := NewKey()
	for _, file := range [][]byte{key.Encode(), bytes.TrimSpace(key.Encode()), append([]byte(" \n"), key.Encode()...)} {
		again, err := ParseKey(file)
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := again.Open(key.Seal([]byte("s3cret"), name), name); err != nil || string(opened) != "s3cret" {
			t.Errorf("a key that was kept opens %q: %v", opened, err)
		}
	}
	if bytes.Equal(NewKey().Encode(), NewKey().Encode()) {
		t.Error("two new keys are the same")
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", "hunter2hunter2", base64.StdEncoding.EncodeToString(make([]byte, 16)), string(NewKey().Encode()) + "AAAA"} {
		if key, err := ParseKey([]byte(text)); err == nil || !key.IsZero() || len(text) > 4 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestKeyIsNeverShown(t *testing.T) {
	t.Parallel()
	key := NewKey()
	raw := key.raw[:]
	encoded := strings.TrimSpace(string(key.Encode()))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", key, "inside", struct{ Key Key }{key})
	marshalled, err := json.Marshal(map[string]any{"key": key, "pointer": &key})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s", key, &key, key, struct{ K Key }{key}), fmt.Sprintf("%x", key),
		fmt.Sprintf("%v %+v", struct{ k Key }{key}, &struct{ k Key }{key}), log.String(), string(marshalled)} {
		for _, secret := range []string{encoded, string(raw), fmt.Sprintf("%x", raw), fmt.Sprint(raw)} {
			if strings.Contains(shown, secret) {
				t.Errorf("the key is shown: %s", shown)
			}
		}
	}
}
