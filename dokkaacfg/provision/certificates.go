package provision

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// CertificatesDir is where the certificates of our daemons are on the host, a directory for each.
const CertificatesDir = dir + "/tls"

const certificatesScript = `
cd %s 2>/dev/null || exit 0
for file in */*.pem; do
	[ -e "$file" ] || continue
	echo "file $file"
	sed -n '/^-----BEGIN CERTIFICATE-----$/,/^-----END CERTIFICATE-----$/p' "$file"
done
`

// Certificates returns the certificates that the host has, by the name of their file below
// CertificatesDir. Their keys stay there.
func Certificates(ctx context.Context, host Host) (map[string][]byte, error) {
	out, err := host.Run(ctx, fmt.Sprintf(certificatesScript, CertificatesDir), nil)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	all := map[string][]byte{}
	name := ""
	for line := range strings.Lines(out) {
		if file, is := strings.CutPrefix(line, "file "); is {
			name = strings.TrimSpace(file)
			all[name] = nil
			continue
		}
		all[name] = append(all[name], line...)
	}
	return all, nil
}

// WriteCertificate writes a file of certificates, whole or not at all, for its daemon alone.
func WriteCertificate(ctx context.Context, host Host, name string, content []byte) error {
	_, err := writeFile(ctx, host, path.Join(CertificatesDir, name), "600", string(content))
	return err
}
