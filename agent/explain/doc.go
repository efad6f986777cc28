// SPDX-License-Identifier: Apache-2.0

// Package explain owns the answers to why: which rule dropped a target or a
// sample, or which agent has it, told step by step.
//
// It promises that its steps end as the library's relabelling does, which does
// each of them; that an answer is bounded whatever targets say of themselves;
// and that it shows no secret. It asks stages nothing: package agent gives it
// what they know, and it changes none of it.
package explain
