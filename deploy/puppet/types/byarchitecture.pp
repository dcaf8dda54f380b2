# @summary One value for all nodes, or a hash by dpkg's architecture (`amd64`, `arm64`, `armhf`)
type Alm_pull::Byarchitecture = Variant[String[1], Hash[Pattern[/\A[a-z0-9-]+\z/], String[1], 1]]
