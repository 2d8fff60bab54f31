import type { Subject } from './subject.ts'

export const hitch: Subject = {
  name: 'hitch',
  remark: 'L4, C',
  debian: { name: 'hitch', program: 'hitch' },
  prepare({ port, upstream, tls }) {
    if (tls === undefined) throw new Error('hitch takes TLS off and does nothing else')
    const settings = [
      `--frontend=[127.0.0.1]:${port}`,
      `--backend=[127.0.0.1]:${upstream}`,
      '--workers=1',
      '--backlog=4096',
      '--log-level=1',
      '--ocsp-dir=',
      ...(process.getuid?.() === 0 ? ['--user=root'] : []),
    ]
    return { program: 'hitch', args: [...settings, tls.pair] }
  },
}
