// SPDX-License-Identifier: Apache-2.0

package web

import (
	"testing"
)

func TestHidePasswords(t *testing.T) {
	f := func(given, want string) {
		t.Helper()
		if got := hidePasswords(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
	f("", "")
	f("info", "info")
	f("/data: the @directory", "/data: the @directory")
	f("http://agent.example/prefix", "http://agent.example/prefix")
	f("http://user@agent.example", "http://user@agent.example")
	f("http://agent.example:9090/a@b", "http://agent.example:9090/a@b")
	f("http://agent.example/?at=a:b@c", "http://agent.example/?at=a:b@c")
	f("http://user:pa55@agent.example/x", "http://user:<secret>@agent.example/x")
	f("http://user:p:a@5@agent.example/x", "http://user:<secret>@agent.example/x")
	f("http://user:p/a55@agent.example", "http://user:<secret>@agent.example")
	f("http://user:p?a#55@agent.example", "http://user:<secret>@agent.example")
	f("http://:pa55@agent.example", "http://:<secret>@agent.example")
	f("http://user:@agent.example", "http://user:<secret>@agent.example")
	f("--url=http://a:pa55@h,https://b:pa66@g", "--url=http://a:<secret>@h,https://b:<secret>@g")
	f("http://a:pa55@h then mail@example", "http://a:<secret>@h then mail@example")
	f("://", "://")
	f("a://b://c:d@e", "a://b://c:<secret>@e")
}
