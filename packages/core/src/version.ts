/** The one version of all packages and images. */
export const version = '0.1.0'
