# The name of a container, as Docker accepts it. The module itself uses names that end with `.new` and `.old` during a change.
type Alm_pull::Containername = Pattern[/\A(?!.*\.(new|old)\z)[A-Za-z0-9][A-Za-z0-9_.-]*\z/]
