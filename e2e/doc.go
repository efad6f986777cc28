// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built program as its users see it: by its flags, its files, its signals, its HTTP and what
// arrives at the receivers, beside real neighbours. It imports nothing of the program.
package e2e
