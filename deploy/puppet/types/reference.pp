# @summary An image reference: `[REGISTRY/]NAME[:TAG][@DIGEST]`; it cannot be taken for an option
type Alm_pull::Reference = Pattern[/\A[A-Za-z0-9\[][A-Za-z0-9_.:\/@\[\]-]*\z/]
