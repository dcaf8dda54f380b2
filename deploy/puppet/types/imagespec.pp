# @summary An entry of `images` in Hiera; the keys are parameters of alm_pull::image and alm_pull::container
type Alm_pull::Imagespec = Struct[{
  image                     => Alm_pull::Reference,
  Optional[ensure]          => Enum['present', 'absent'],
  Optional[container]       => Alm_pull::Containername,
  Optional[run_args]        => Array[String[1]],
  Optional[command]         => Array[String],
  Optional[restart_on]      => Array[Alm_pull::Path],
  Optional[grace]           => Integer[0],
  Optional[grace_limit]     => Integer[0],
  Optional[remove_replaced] => Boolean,
  Optional[when_unknown]    => Enum['pull', 'skip'],
  Optional[platform]        => String[1],
  Optional[timeout]         => Integer[0],
}]
