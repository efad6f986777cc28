// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Allow lets all service accounts of a namespace do this: in that namespace only, or everywhere.
func (c *ControlPlane) Allow(ctx context.Context, name, namespace string, everywhere bool, rules ...rbac.PolicyRule) error {
	subjects := []rbac.Subject{{
		APIGroup: rbac.GroupName, Kind: rbac.GroupKind, Name: "system:serviceaccounts:" + namespace,
	}}
	object := meta.ObjectMeta{Name: name}
	api := c.client.RbacV1()
	if everywhere {
		role := &rbac.ClusterRole{ObjectMeta: object, Rules: rules}
		if _, err := api.ClusterRoles().Create(ctx, role, meta.CreateOptions{}); err != nil {
			return err
		}
		binding := &rbac.ClusterRoleBinding{
			ObjectMeta: object, Subjects: subjects,
			RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: name},
		}
		_, err := api.ClusterRoleBindings().Create(ctx, binding, meta.CreateOptions{})
		return err
	}
	role := &rbac.Role{ObjectMeta: object, Rules: rules}
	if _, err := api.Roles(namespace).Create(ctx, role, meta.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbac.RoleBinding{
		ObjectMeta: object, Subjects: subjects,
		RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: name},
	}
	_, err := api.RoleBindings(namespace).Create(ctx, binding, meta.CreateOptions{})
	return err
}
