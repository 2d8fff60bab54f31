import type { Container } from '../container.ts'
import { oneLine } from '../log.ts'
import { type ProbeKind, probePaths } from '../probe.ts'
import { drainOf, entryPoint, type GivenParam, imageOf, portsOf, settingsOf, yamlText } from './settings.ts'

/** A Kubernetes pod with the container as native sidecar (KEP-753): it starts before and ends after the application. */
export function pod(container: Container, given: readonly GivenParam[] = []): string {
  const volumes = Object.keys(container.volumes)
  const drain = drainOf(container, given)
  const volumeName = (directory: string) =>
    `${container.name}-${directory.toLowerCase().replace(/[^a-z0-9]/g, '')}`
  const lines = [
    'apiVersion: v1',
    'kind: Pod',
    'metadata:',
    `  name: my-app-with-${container.name}`,
    'spec:',
    `  # Longer than the drain of ${drain.shown}, so that it is never cut short.`,
    `  terminationGracePeriodSeconds: ${Math.max(30, drain.seconds + 5)}`,
    '  securityContext:',
    '    # Lets the container read mounted Secrets.',
    '    fsGroup: 65532',
    '  initContainers:',
    ...nativeSidecar(container, given).map((line) => `    ${line}`),
    '  containers:',
    '    - name: app',
    '      image: my-app',
    ...(volumes.length > 0 ? ['  volumes:'] : []),
    ...volumes.flatMap((directory) => [
      `    # ${oneLine(container.volumes[directory] ?? '')}`,
      `    - name: ${volumeName(directory)}`,
      '      secret:',
      `        secretName: ${volumeName(directory)}`,
      '        optional: true',
    ]),
  ]
  return `${lines.join('\n')}\n`

  function nativeSidecar(of: Container, params: readonly GivenParam[]): string[] {
    const ports = portsOf(of, params)
    const admin = ports.find(({ name }) => name === 'admin')?.port
    const probe = (kind: ProbeKind) =>
      admin === undefined
        ? `    exec: { command: [${[...entryPoint, '--probe', kind].join(', ')}] }`
        : `    httpGet: { path: ${probePaths[kind]}, port: ${admin} }`
    return [
      `- name: ${of.name}`,
      `  image: ${imageOf(of)}`,
      '  imagePullPolicy: IfNotPresent',
      '  # Native sidecar, Kubernetes 1.29 and later; before that, move this entry to containers without this line.',
      '  restartPolicy: Always',
      ...env(of, params),
      ...(ports.length > 0 ? ['  ports:'] : []),
      ...ports.map(({ name, port }) => `    - { name: ${name}, containerPort: ${port} }`),
      '  startupProbe:',
      probe('ready'),
      '    periodSeconds: 1',
      '    failureThreshold: 60',
      '  readinessProbe:',
      probe('ready'),
      '    periodSeconds: 5',
      '  livenessProbe:',
      probe('live'),
      '    periodSeconds: 10',
      '  resources:',
      '    requests: { cpu: 10m, memory: 64Mi }',
      '    limits: { memory: 256Mi }',
      '  securityContext:',
      '    runAsNonRoot: true',
      '    runAsUser: 65532',
      '    runAsGroup: 65532',
      '    readOnlyRootFilesystem: true',
      '    allowPrivilegeEscalation: false',
      '    capabilities: { drop: [ALL] }',
      '    seccompProfile: { type: RuntimeDefault }',
      ...(volumes.length > 0 ? ['  volumeMounts:'] : []),
      ...volumes.map(
        (directory) => `    - { name: ${volumeName(directory)}, mountPath: ${directory}, readOnly: true }`,
      ),
    ]
  }
}

function env(container: Container, given: readonly GivenParam[]): string[] {
  const settings = settingsOf(container, given)
  if (settings.length === 0) return []
  const entries = settings.flatMap(({ variable, value, secret }) => [
    `    - name: ${variable}`,
    secret
      ? `      valueFrom: { secretKeyRef: { name: ${container.name}, key: ${variable.toLowerCase()} } }`
      : // Kubernetes would expand $(NAME), and makes one dollar sign of two.
        `      value: ${yamlText(value.replaceAll('$', '$$$$'))}`,
  ])
  return ['  env:', ...entries]
}
