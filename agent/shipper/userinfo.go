// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	promcfg "github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"
)

// withoutUserinfo returns a copy of rw in which a user and password of the URL
// have become basic_auth, where they go before any other Authorization as they
// do in an URL: storage/remote logs the URL as it stands and puts it into
// errors.
func withoutUserinfo(rw *promconfig.RemoteWriteConfig) *promconfig.RemoteWriteConfig {
	c := *rw
	if c.URL == nil || c.URL.User == nil {
		return &c
	}
	user := c.URL.User
	plain := *c.URL.URL
	plain.User = nil
	c.URL = &promcfg.URL{URL: &plain}
	password, _ := user.Password()
	c.HTTPClientConfig.BasicAuth = &promcfg.BasicAuth{
		Username: user.Username(), Password: promcfg.Secret(password),
	}
	c.HTTPClientConfig.Authorization = nil
	return &c
}
