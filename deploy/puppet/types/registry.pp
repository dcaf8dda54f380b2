# @summary A registry's host, with its port if it has one
type Alm_pull::Registry = Pattern[/\A[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*\z/]
