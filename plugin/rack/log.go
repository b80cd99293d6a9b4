package rack

import (
	"context"
	"log/slog"
	"strings"

	clog "github.com/coredns/coredns/plugin/pkg/log"
)

var log = clog.NewWithPlugin(name)

// logHandler lets the index, which knows nothing of CoreDNS, log like a plugin.
type logHandler struct{ attrs []slog.Attr }

var _ slog.Handler = logHandler{}

// Enabled implements slog.Handler.
func (logHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l > slog.LevelDebug || clog.D.Value()
}

// Handle implements slog.Handler.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		b.WriteString(" " + a.Key + "=" + quote(a.Value.String()))
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	switch {
	case r.Level >= slog.LevelError:
		log.Error(b.String())
	case r.Level >= slog.LevelWarn:
		log.Warning(b.String())
	case r.Level >= slog.LevelInfo:
		log.Info(b.String())
	default:
		log.Debug(b.String())
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{attrs: append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

// WithGroup implements slog.Handler; the index makes no groups.
func (h logHandler) WithGroup(string) slog.Handler { return h }

func quote(s string) string {
	if strings.ContainsAny(s, " \"\n") {
		return `"` + strings.NewReplacer(`"`, `'`, "\n", " ").Replace(s) + `"`
	}
	return s
}
