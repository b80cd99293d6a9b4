package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

const (
	authenticate = etcdserverpb.Auth_Authenticate_FullMethodName
	// tokenFresh is how long a token is taken for valid without a call that
	// shows it. A stream is let in once, when it is opened.
	tokenFresh = time.Second
)

// login gets the token that makes us known to etcd as a user, and a new one
// when etcd takes it no more, by the password as it is in its file then.
//
// etcd's client can do that too, but reads the password once, logs in twice a
// second for as long as that is refused, and sends the old token along with the
// request for a new one: an etcd 3.4 refuses such a request if the token has
// run out, for ever.
type login struct {
	cfg     Config
	refused *refusals
	// turn is held by whoever logs in. Others wait for no longer than they may.
	turn chan struct{}
	hold holdOff

	mu    sync.Mutex
	token string
	at    time.Time
	// times counts the logins; it tells whether a token is the one that was
	// refused.
	times int
}

func newLogin(cfg Config, refused *refusals) *login {
	return &login{cfg: cfg, refused: refused, turn: make(chan struct{}, 1)}
}

// options are for the connection whose calls the login is for.
func (l *login) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithPerRPCCredentials(l),
		// Chained ones are called for each attempt of etcd's client.
		grpc.WithChainUnaryInterceptor(l.unary),
		grpc.WithChainStreamInterceptor(l.stream),
	}
}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (l *login) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if info, ok := credentials.RequestInfoFromContext(ctx); ok && info.Method == authenticate {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == "" {
		return nil, nil
	}
	return map[string]string{rpctypes.TokenFieldNameGRPC: l.token}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (l *login) RequireTransportSecurity() bool { return false }

func (l *login) state() (times int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times, l.at
}

// unary makes a call with a token, and again with a new one if etcd doesn't
// take that. A call that is refused for its token has done nothing.
func (l *login) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == authenticate {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	times, _ := l.state()
	if times == 0 {
		if err := l.renew(ctx, cc, 0); err != nil {
			return err
		}
		times, _ = l.state()
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if !tokenRefused(err) {
		l.taken(err)
		return err
	}
	l.refused.note(refusedToken, "")
	if err := l.renew(ctx, cc, times); err != nil {
		return err
	}
	err = invoke(ctx, method, req, reply, cc, opts...)
	if tokenRefused(err) {
		// Not as etcd says it: its client would try a hundred times.
		err = &refusedError{reason: refusedToken, err: fmt.Errorf("a token that etcd just gave is refused: %s", rpctypes.ErrorDesc(err))}
		l.hold.refuse(err, l.files())
		return err
	}
	l.taken(err)
	return err
}

// taken notes that a token was taken.
func (l *login) taken(err error) {
	if err == nil {
		l.refused.over(refusedToken, "")
		l.hold.lift()
	}
}

// tokenRefused reports whether a call was refused for its token, or for not
// having one.
func tokenRefused(err error) bool {
	reason := reasonOf(err)
	return reason == refusedToken || reason == refusedUser
}

// stream opens a stream with a token that is surely valid.
func (l *login) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if times, at := l.state(); times == 0 || time.Since(at) > tokenFresh {
		if err := l.renew(ctx, cc, times); err != nil {
			return nil, err
		}
	}
	return open(ctx, desc, cc, method, opts...)
}

func (l *login) files() stamp { return stampOf(l.cfg.PasswordFile) }

// renew logs in, unless somebody else has since the given time.
func (l *login) renew(ctx context.Context, cc *grpc.ClientConn, since int) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	if times, _ := l.state(); times != since {
		return nil
	}
	files := l.files()
	if err := l.hold.holds(files); err != nil {
		return err
	}
	token, err := l.authenticate(ctx, cc)
	if reasonOf(err) == refusedPassword {
		l.refused.note(refusedPassword, "")
		err = &refusedError{reason: refusedPassword, err: err}
		l.hold.refuse(err, files)
	}
	if err != nil {
		return err
	}
	l.refused.over(refusedPassword, "")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token, l.at = token, time.Now()
	l.times++
	return nil
}

func (l *login) authenticate(ctx context.Context, cc *grpc.ClientConn) (token string, err error) {
	password, err := l.cfg.password()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	r, err := etcdserverpb.NewAuthClient(cc).Authenticate(ctx,
		&etcdserverpb.AuthenticateRequest{Name: l.cfg.Username, Password: password}, grpc.WaitForReady(true))
	switch {
	case err == nil:
		return r.Token, nil
	case errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled):
		// Nobody has to be known. Should that change, no token is refused.
		return "", nil
	}
	return "", err
}
