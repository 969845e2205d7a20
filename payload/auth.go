package payload

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Login is a user and a password for one registry, and for no other.
type Login struct {
	Registry, Username, Password string
}

// Check says what is wrong with a login: an empty half, or a character that no registry takes, such as the newline that `echo` leaves
// behind a password. It never shows the password.
func (l Login) Check() error {
	if l.Username == "" || l.Password == "" {
		return fmt.Errorf("credentials for %s: expected both a user and a password", l.Registry)
	}
	return printable(l.Registry, authn.AuthConfig{Username: l.Username, Password: l.Password})
}

// printable finds characters that cannot be in credentials.
func printable(registry string, c authn.AuthConfig) error {
	for _, part := range []struct{ what, text string }{
		{"the user name", c.Username}, {"the password", c.Password}, {"the identity token", c.IdentityToken}, {"the registry token", c.RegistryToken},
	} {
		at := strings.IndexFunc(part.text, unicode.IsControl)
		if at < 0 {
			continue
		}
		found := "a control character"
		if strings.ContainsRune("\r\n", rune(part.text[at])) {
			found = "a newline"
		}
		return fmt.Errorf("credentials for %s: %s has %s at character %d; write them without, as in `printf %%s`", registry, part.what, found, at+1)
	}
	return nil
}

// keychain has the credentials that were given, then those of others.
type keychain struct {
	logins []Login
	others authn.Keychain
}

// Resolve implements a keychain.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	registry := target.RegistryStr()
	for _, l := range k.logins {
		if l.Registry == registry {
			if err := l.Check(); err != nil {
				return nil, failure(err.Error())
			}
			return &authn.Basic{Username: l.Username, Password: l.Password}, nil
		}
	}
	found, err := k.others.Resolve(target)
	if err != nil {
		return nil, failure(fmt.Sprintf("credentials for %s: read the configuration of Docker: %s", registry, err))
	}
	return checked{registry, found}, nil
}

// checked are credentials of others, looked at before they are sent.
type checked struct {
	registry string
	authn.Authenticator
}

// Authorization implements an authenticator.
func (c checked) Authorization() (*authn.AuthConfig, error) {
	found, err := c.Authenticator.Authorization()
	if err != nil {
		return nil, failure(fmt.Sprintf("credentials for %s: %s", c.registry, err))
	}
	if err := printable(c.registry, *found); err != nil {
		return nil, failure(err.Error())
	}
	return found, nil
}
