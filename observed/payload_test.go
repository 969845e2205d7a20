package observed_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"longshore.dev/longshore/observed"
)

func TestCredentialsShowThemselvesNowhere(t *testing.T) {
	const password = "hunter2-and-more"
	snap := observed.Snapshot{PayloadSecret: &observed.PayloadSecret{Exists: true, Registry: "quay.io", Username: observed.Hide("robot"), Password: observed.Hide(password)}}
	text, err := json.Marshal(snap)
	if err != nil {
		t.Fatal(err)
	}
	field, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{}).EncodeEntry(zapcore.Entry{}, []zapcore.Field{zap.Any("secret", snap.PayloadSecret)})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{string(text), field.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, snap.PayloadSecret), fmt.Sprintf(verb, *snap.PayloadSecret), fmt.Sprintf(verb, snap.PayloadSecret.Password))
	}
	for _, text := range shown {
		for _, value := range []string{password, fmt.Sprintf("%x", password), "robot"} {
			if strings.Contains(text, value) {
				t.Errorf("%q shows %q", text, value)
			}
		}
	}
	if !strings.Contains(string(text), `"password":"(hidden)"`) {
		t.Errorf("%s does not say that there is a password", text)
	}
	if got := snap.PayloadSecret.Password.Reveal(); got != password {
		t.Errorf("revealed %q", got)
	}
}

func TestAPasswordIsTakenOutOfWhatOthersSay(t *testing.T) {
	secret := observed.Hide("hunter2\n")
	for text, want := range map[string]string{
		"PAYLOAD_REGISTRY_PASSWORD=hunter2\nexit 1": "PAYLOAD_REGISTRY_PASSWORD=(hidden)\nexit 1",
		"curl -u robot:hunter2 failed":              "curl -u robot:(hidden) failed",
		"nothing to hide":                           "nothing to hide",
		"":                                          "",
	} {
		if got := secret.Clean(text); got != want {
			t.Errorf("%q became %q, expected %q", text, got, want)
		}
	}
	short := observed.Hide("a")
	if got := short.Clean("exit 1: a command failed"); got != "exit 1: a command failed" {
		t.Errorf("a password that is in every message makes it unreadable: %q", got)
	}
	var none observed.Hidden
	if got := none.Clean("as it is"); got != "as it is" {
		t.Errorf("without a Secret: %q", got)
	}
}
