package dokkaacfg

import "io"

// countingReader tells how much was read of a reader.
type countingReader struct {
	from io.Reader
	n    int64
	tell func(int64)
}

func (c *countingReader) Read(data []byte) (int, error) {
	n, err := c.from.Read(data)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}
