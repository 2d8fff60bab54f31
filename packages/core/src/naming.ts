/** `sidecar-https` to `SIDECAR_HTTPS_`: the whole name, so that no prefix claims `HTTPS_PROXY` and the like. */
export const prefixOf = (container: string): string => `${container.toUpperCase().replaceAll('-', '_')}_`

/** `logLevel` to `SIDECAR_HTTPS_LOG_LEVEL`. */
export const variableOf = (prefix: string, param: string): string => prefix + snake(param).toUpperCase()

/** `logLevel` to `--log-level`. */
export const flagOf = (param: string): string => `--${snake(param).replaceAll('_', '-')}`

/** `--log-level` to `SIDECAR_HTTPS_LOG_LEVEL`. */
export const variableOfFlag = (prefix: string, flag: string): string =>
  prefix + flag.slice(2).toUpperCase().replaceAll('-', '_')

/** The longest beginning, up to an underscore, that more than half of the variables have. */
export function commonPrefix(variables: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const variable of variables) {
    for (const { index } of variable.matchAll(/_/g)) {
      const prefix = variable.slice(0, index + 1)
      counts.set(prefix, (counts.get(prefix) ?? 0) + 1)
    }
  }
  return [...counts]
    .filter(([, count]) => count > variables.length / 2)
    .map(([prefix]) => prefix)
    .toSorted((a, b) => b.length - a.length)[0]
}

const snake = (camel: string): string => camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/**
 * Whether a variable has a shape that Kubernetes sets in every container for each Service of the namespace (Service
 * links): a Service called `sidecar-https` must not break the container of that name.
 */
export const isKubernetesServiceVariable = (variable: string): boolean =>
  /_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT$|_PORT_\d+_/.test(variable)
