# A container's name, as Docker takes it. Those with `.new` and `.old` are the module's own, for the time of a change.
type Alm_pull::Containername = Pattern[/\A(?!.*\.(new|old)\z)[A-Za-z0-9][A-Za-z0-9_.-]*\z/]
