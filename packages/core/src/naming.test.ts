import { describe, expect, it } from 'vitest'
import {
  commonPrefix,
  flagOf,
  isKubernetesServiceVariable,
  prefixOf,
  variableOf,
  variableOfFlag,
} from './naming.ts'

it.each([
  ['topz', 'TOPZ_'],
  ['sidecar-https', 'SIDECAR_HTTPS_'],
])('the prefix of %s is its whole name, %s', (name, prefix) => {
  expect(prefixOf(name)).toBe(prefix)
})

it.each([
  ['target', 'X_TARGET', '--target'],
  ['logLevel', 'X_LOG_LEVEL', '--log-level'],
  ['maxBodySize', 'X_MAX_BODY_SIZE', '--max-body-size'],
  ['http2', 'X_HTTP2', '--http2'],
])('%s is set by %s and %s', (param, variable, flag) => {
  expect([variableOf('X_', param), flagOf(param)]).toEqual([variable, flag])
  expect(variableOfFlag('X_', flag)).toBe(variable)
})

describe('variables that Kubernetes sets for a Service', () => {
  // The complete set for a Service with a named and an unnamed port, from the documentation of Service links.
  it.each([
    'TOPZ_SERVICE_HOST',
    'TOPZ_SERVICE_PORT',
    'TOPZ_SERVICE_PORT_HTTP',
    'TOPZ_PORT',
    'TOPZ_PORT_8083_TCP',
    'TOPZ_PORT_8083_TCP_PROTO',
    'TOPZ_PORT_8083_TCP_PORT',
    'TOPZ_PORT_8083_TCP_ADDR',
    'TOPZ_SIDE_PORT_53_UDP',
  ])('%s is one', (variable) => {
    expect(isKubernetesServiceVariable(variable)).toBe(true)
  })

  it.each([
    'TOPZ_LISTEN',
    'TOPZ_PORTS',
    'TOPZ_SERVICE',
    'TOPZ_PORT_RANGE',
    'TOPZ_SUPPORT',
    'TOPZ_SERVICE_HOSTS',
  ])('%s is none', (variable) => {
    expect(isKubernetesServiceVariable(variable)).toBe(false)
  })
})

it.each([
  [['OLD_BOX_A', 'OLD_BOX_B_C', 'OLD_D', 'E'], 'OLD_'],
  [['OLD_BOX_A', 'OLD_BOX_B_C', 'OLD_BOX_B_D', 'E'], 'OLD_BOX_'],
  [['A', 'B'], undefined],
  [[], undefined],
])('more than half of %j begin with %s', (variables, prefix) => {
  expect(commonPrefix(variables)).toBe(prefix)
})
