package payload

import (
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Transfer is how far a transfer has come, in bytes.
type Transfer struct {
	What        string
	Done, Total int64
}

// meter counts one transfer.
type meter struct {
	Transfer
	tell func(Transfer)
}

func (c *Client) meter(what string, layers []v1.Layer) (*meter, error) {
	m := &meter{Transfer: Transfer{What: what}, tell: c.Progress}
	for _, l := range layers {
		size, err := l.Size()
		if err != nil {
			return nil, err
		}
		m.Total += size
	}
	return m, nil
}

func (m *meter) add(n int64) {
	m.Done += n
	if m.tell != nil {
		m.tell(m.Transfer)
	}
}

// metered counts what is read.
type metered struct {
	io.ReadCloser
	meter *meter
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.meter.add(int64(n))
	return n, err
}

type meteredLayer struct {
	v1.Layer
	meter *meter
}

// Compressed reads the blob over the meter.
func (l *meteredLayer) Compressed() (io.ReadCloser, error) {
	rc, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return &metered{rc, l.meter}, nil
}
