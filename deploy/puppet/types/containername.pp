# @summary A container's name as docker accepts it, except NAME.new and NAME.old, which the module uses during a change
type Alm_pull::Containername = Pattern[/\A(?!.*\.(new|old)\z)[A-Za-z0-9][A-Za-z0-9_.-]*\z/]
