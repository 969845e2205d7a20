package main

import (
	"fmt"
	"io"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// logOptions say how logs look.
type logOptions struct {
	format string
	level  string
}

func (o *logOptions) flags(set *pflag.FlagSet) {
	set.StringVar(&o.format, "log-format", "auto", "json, console, or auto: console on a terminal")
	set.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
}

func (o *logOptions) build(w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(o.level)
	if err != nil {
		return nil, fmt.Errorf("--log-level: %q is not one of debug, info, warn, error", o.level)
	}
	format := o.format
	if format == "auto" {
		format = "json"
		if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			format = "console"
		}
	}
	var encoder zapcore.Encoder
	switch format {
	case "json":
		config := zap.NewProductionEncoderConfig()
		config.TimeKey, config.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
		encoder = zapcore.NewJSONEncoder(config)
	case "console":
		config := zap.NewDevelopmentEncoderConfig()
		config.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(config)
	default:
		return nil, fmt.Errorf("--log-format: %q is not one of json, console, auto", o.format)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// withoutProcess leaves out of a gatherer what the controller's own registry has as well: Go and process metrics.
type withoutProcess struct{ prometheus.Gatherer }

// Gather implements prometheus.Gatherer.
func (g withoutProcess) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.Gatherer.Gather()
	kept := families[:0]
	for _, f := range families {
		name := f.GetName()
		if len(name) > 3 && (name[:3] == "go_" || (len(name) > 8 && name[:8] == "process_")) {
			continue
		}
		kept = append(kept, f)
	}
	return kept, err
}
