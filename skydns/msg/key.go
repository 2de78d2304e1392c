package msg

import (
	"fmt"
	"slices"
	"strings"
)

// Key is the etcd key of a domain name: below prefix, its labels from the right.
// Key("skydns", "Web.shop.skydns.local.") is "/skydns/local/skydns/shop/web".
func Key(prefix, name string) string {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(name), "."), ".")
	slices.Reverse(labels)
	return "/" + prefix + "/" + strings.Join(labels, "/")
}

// Name is the domain name of an etcd key, with the final dot, case as in the key and odd
// characters escaped as DNS software writes them; ok is false for a key that is not below
// prefix. A dot inside an element separates labels. The name may still be illegal, with labels
// too long for DNS.
func Name(prefix, key string) (name string, ok bool) {
	path, ok := strings.CutPrefix(key, "/"+prefix+"/")
	if !ok {
		return "", false
	}
	elements := strings.Split(path, "/")
	slices.Reverse(elements)
	name = strings.Join(elements, ".")
	if name == "" || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return "", false
	}
	return escape(name) + ".", true
}

// escape writes name in presentation form, exactly as miekg/dns prints a name that it
// unpacked, so that the two can be compared.
func escape(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(special, r) }) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case strings.IndexByte(special, c) >= 0 || c == ' ':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\%03d", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

const special = `'@;()"\`
