# Everything comes from Hiera: see hiera.yaml and data/ beside this file.
include alm_pull::profile::raspberry_pi
