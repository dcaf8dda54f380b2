# @summary The node's value of a parameter that may differ by architecture
#
# @param parameter
#   The parameter's name, for the error message.
# @param value
#   The parameter's value: one for all nodes, or a hash by dpkg's architecture.
# @return [Optional[String[1]]]
#   The value for this node; undef if the parameter is unset.
#
# @api private
function alm_pull::by_architecture(String[1] $parameter, Optional[Alm_pull::Byarchitecture] $value) >> Optional[String[1]] {
  if $value =~ Hash {
    $architecture = $alm_pull::architecture
    unless $architecture in $value {
      fail("alm_pull: ${parameter} has no value for the architecture '${architecture}', only for ${value.keys.join(', ')}")
    }
    $value[$architecture]
  } else {
    $value
  }
}
