package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"bdtnode/internal/spell"
)

// EnvPrefix begins the environment variables of this program. Those of settings stand before config.toml:
// BDTNODE_API_ADDRESS is api.address. Lists are separated by commas.
const EnvPrefix = "BDTNODE_"

// Variables that commands read and that are no settings of a replica.
const (
	EnvNode       = EnvPrefix + "NODE"       // URL of a replica to ask
	EnvPassphrase = EnvPrefix + "PASSPHRASE" // of encrypted account keys
)

// envKeys are the settings that the environment may give.
var envKeys = []string{KeyListen, KeyAnnounce, KeyBootstrap, KeyQUIC, KeyAPIAddress, KeyLogLevel}

// EnvName is the environment variable of a setting.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// SettingError is a setting that cannot be used. Exactly one of File, Variable and Flag names its source.
type SettingError struct {
	Key      string // empty if the whole source is wrong
	File     string // path of config.toml
	Variable string // of the environment
	Flag     bool   // given as an override
	Err      error
}

// Error names the source, the setting and what is wrong.
func (e *SettingError) Error() string {
	switch {
	case e.Flag:
		return fmt.Sprintf("flags: %s: %v", e.Key, e.Err)
	case e.Variable != "":
		return fmt.Sprintf("environment variable %s: %v", e.Variable, e.Err)
	case e.Key == "":
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.File, e.Key, e.Err)
}

// because is e with its cause.
func (e *SettingError) because(err error) error {
	e.Err = err
	return e
}

// Unwrap is the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// serviceLink matches what Kubernetes puts into the environment of a pod beside a service called bdtnode or bdtnode-….
var serviceLink = regexp.MustCompile(`(^|_)(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// CheckEnvironment refuses a variable with [EnvPrefix] that nothing reads, with a [*SettingError] that names the
// variable which may have been meant.
func CheckEnvironment() error {
	known := []string{EnvNode, EnvPassphrase}
	for _, key := range envKeys {
		known = append(known, EnvName(key))
	}
	names := make([]string, len(known)) // without the prefix, which all are near by
	for i, name := range known {
		names[i] = strings.TrimPrefix(name, EnvPrefix)
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours || slices.Contains(known, name) || serviceLink.MatchString(rest) {
			continue
		}
		why := "unknown name"
		if near := spell.Nearest(strings.ToUpper(rest), names); near != "" {
			why += ", use " + EnvPrefix + near
		}
		return &SettingError{Variable: name, Err: fmt.Errorf("%s; known are %s", why, strings.Join(known, ", "))}
	}
	return nil
}

// environment has the settings that the environment gives.
func environment() map[string]any {
	given := make(map[string]any)
	for _, key := range envKeys {
		value, ok := os.LookupEnv(EnvName(key))
		if !ok {
			continue
		}
		switch key {
		case KeyListen, KeyAnnounce, KeyBootstrap:
			given[key] = splitList(value)
		default:
			given[key] = value
		}
	}
	return given
}

func splitList(s string) []string {
	out := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
