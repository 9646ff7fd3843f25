# What no plan of a pull request may do: here, let backups go that the retention in force keeps.
#
#   knib plan --format json > plan.json
#   opa eval --fail-defined -d policy.rego -i plan.json 'data.main.deny[_]'
#   conftest test -p . plan.json
package main

import rego.v1

deny contains m if {
	some a in input.actions
	a.class == "destructive"
	m := sprintf("%s: %s", [a.address, a.reason.code])
}
