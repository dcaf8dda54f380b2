# One value for all nodes, or one for each of dpkg's architectures.
type Alm_pull::Byarchitecture = Variant[String[1], Hash[Pattern[/\A[a-z0-9-]+\z/], String[1], 1]]
