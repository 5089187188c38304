package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"bdtnode/internal/spell"
)

// EnvPrefix is the prefix of this program's environment variables. Variables of settings override config.toml:
// BDTNODE_API_ADDRESS sets api.address. Lists are separated by commas.
const EnvPrefix = "BDTNODE_"

// Variables that commands read and that are not settings of a replica.
const (
	EnvNode       = EnvPrefix + "NODE"       // URL of a replica's API
	EnvPassphrase = EnvPrefix + "PASSPHRASE" // passphrase of encrypted account keys
)

// envKeys are the settings that the environment can set.
var envKeys = []string{KeyListen, KeyAnnounce, KeyBootstrap, KeyQUIC, KeyWAN, KeyAPIAddress, KeyAPIHosts, KeyAPIOrigins, KeyLogLevel, KeyLogFormat}

// EnvName is the name of the environment variable of a setting.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// SettingError is the error of an invalid setting. Exactly one of File, Variable and Flag is set, for its source.
type SettingError struct {
	Key      string // empty if the whole source is invalid
	File     string // path of config.toml
	Variable string // name of the environment variable
	Flag     bool   // the source is an override
	Err      error
}

// Error names the source, the setting and the reason.
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

// because sets the cause of e and returns it.
func (e *SettingError) because(err error) error {
	e.Err = err
	return e
}

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// serviceLink matches the variables that Kubernetes sets in a pod for a service called bdtnode or bdtnode-….
var serviceLink = regexp.MustCompile(`(^|_)(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// CheckEnvironment returns a [*SettingError] for a variable with [EnvPrefix] that no code reads. It suggests the
// nearest known name.
func CheckEnvironment() error {
	known := []string{EnvNode, EnvPassphrase}
	for _, key := range envKeys {
		known = append(known, EnvName(key))
	}
	names := make([]string, len(known)) // without the common prefix, which would make all names similar
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
		return &SettingError{Variable: name, Err: fmt.Errorf("%s; known names: %s", why, strings.Join(known, ", "))}
	}
	return nil
}

// environment returns the settings that environment variables set.
func environment() map[string]any {
	given := make(map[string]any)
	for _, key := range envKeys {
		value, ok := os.LookupEnv(EnvName(key))
		if !ok {
			continue
		}
		switch key {
		case KeyListen, KeyAnnounce, KeyBootstrap, KeyAPIHosts, KeyAPIOrigins:
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
