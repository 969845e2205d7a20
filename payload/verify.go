package payload

import (
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// verified is a stream that has to have a digest, and a size where one is known: at its end it says so, or is an error.
type verified struct {
	io.ReadCloser
	want v1.Hash
	size int64 // -1 where nobody says
	read int64
	sum  hash.Hash
}

func verify(rc io.ReadCloser, want v1.Hash, size int64) (io.ReadCloser, error) {
	sum, err := v1.Hasher(want.Algorithm)
	if err != nil {
		return nil, errors.Join(err, rc.Close())
	}
	return &verified{ReadCloser: rc, want: want, size: size, sum: sum}, nil
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.read += int64(n)
	v.sum.Write(p[:n])
	switch {
	case v.size >= 0 && v.read > v.size:
		return n, fmt.Errorf("blob %s is larger than the %d bytes that its manifest gives", v.want, v.size)
	case !errors.Is(err, io.EOF):
		return n, err
	case v.size >= 0 && v.read < v.size:
		return n, fmt.Errorf("blob %s is truncated: %d bytes, expected %d", v.want, v.read, v.size)
	}
	if got := fmt.Sprintf("%x", v.sum.Sum(nil)); got != v.want.Hex {
		return n, fmt.Errorf("blob %s has the wrong digest: its content is %s:%s", v.want, v.want.Algorithm, got)
	}
	return n, err
}
