# An image reference: `[REGISTRY/]NAME[:TAG][@DIGEST]`. It never looks like an option.
type Alm_pull::Reference = Pattern[/\A[A-Za-z0-9\[][A-Za-z0-9_.:\/@\[\]-]*\z/]
