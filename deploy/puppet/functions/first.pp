# @summary The first of some values that is set
#
# @param values
#   The values, the most specific first.
# @return [Any]
#   The first value that is not undef; undef if there is none.
#
# @api private
function alm_pull::first(Any *$values) >> Any {
  $values.filter |$value| { $value =~ NotUndef }[0]
}
