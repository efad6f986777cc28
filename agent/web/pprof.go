// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"strings"

	"torchbearer/config"
)

// pprofRoutes are the profiles of the running process. They cost time and show memory, so they are for those who are on
// the machine, or forward a port to it, unless the user says otherwise.
func (s *Server) pprofRoutes() []route {
	get := []string{http.MethodGet, http.MethodHead}
	post := []string{http.MethodGet, http.MethodHead, http.MethodPost}
	index := http.StripPrefix(s.opts.RoutePrefix, http.HandlerFunc(pprof.Index))
	return []route{
		{"/debug/pprof/", get, s.loopbackOnly(index)},
		{"/debug/pprof/cmdline", get, s.loopbackOnly(http.HandlerFunc(cmdline))},
		{"/debug/pprof/profile", get, s.loopbackOnly(http.HandlerFunc(pprof.Profile))},
		{"/debug/pprof/symbol", post, s.loopbackOnly(http.HandlerFunc(pprof.Symbol))},
		{"/debug/pprof/trace", get, s.loopbackOnly(http.HandlerFunc(pprof.Trace))},
	}
}

// loopbackOnly judges by the connection: a header that names the client can be written by anyone.
func (s *Server) loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.opts.EnablePprof && !isLoopback(r.RemoteAddr) {
			s.fail(w, r, http.StatusForbidden, "profiles are for clients on this machine only (kubectl port-forward is one); "+
				"start the agent with --web.enable-pprof to open them to all")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(remote string) bool {
	addr, err := netip.ParseAddrPort(remote)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// cmdline is pprof.Cmdline without the passwords.
func cmdline(w http.ResponseWriter, _ *http.Request) {
	args := make([]string, 0, len(os.Args))
	for _, arg := range os.Args {
		args = append(args, config.HideSecrets(arg))
	}
	writeText(w, http.StatusOK, strings.Join(args, "\x00"))
}
