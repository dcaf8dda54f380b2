# @summary An absolute path
type Alm_pull::Path = Pattern[/\A\/[^\0\n]*\z/]
