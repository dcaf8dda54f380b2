# A container's name, as Docker takes it.
type Alm_pull::Containername = Pattern[/\A[A-Za-z0-9][A-Za-z0-9_.-]*\z/]
