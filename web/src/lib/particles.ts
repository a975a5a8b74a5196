// Sparks on one canvas for the whole page. The loop runs only while sparks live.

interface Spark {
  x: number;
  y: number;
  vx: number;
  vy: number;
  born: number;
  life: number;
  size: number;
  color: string;
}

const MOST = 40;

export class Sparks {
  #live: Spark[] = [];
  #frame = 0;

  constructor(private readonly canvas: HTMLCanvasElement) {}

  /** A burst at a point of the window; never more than 40 sparks at once. */
  burst(x: number, y: number, count: number, colors: readonly string[], speed = 190): void {
    const now = performance.now();
    const room = Math.min(count, MOST - this.#live.length);
    for (let i = 0; i < room; i++) {
      const angle = (i / room) * Math.PI * 2 + Math.random() * 0.3;
      const v = speed * (0.55 + Math.random() * 0.6);
      this.#live.push({
        x, y, vx: Math.cos(angle) * v, vy: Math.sin(angle) * v, born: now, life: 550 + Math.random() * 350,
        size: 1.5 + Math.random() * 2.2, color: colors[i % colors.length] ?? '#f0c36a',
      });
    }
    if (room > 0 && this.#frame === 0) this.#start(now);
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#live = [];
  }

  #start(now: number): void {
    this.canvas.width = innerWidth;
    this.canvas.height = innerHeight;
    this.canvas.hidden = false;
    let last = now;
    const step = (time: number) => {
      const dt = Math.min(0.05, Math.max(0, time - last) / 1000);
      last = time;
      this.#draw(time, dt);
      this.#frame = this.#live.length > 0 ? requestAnimationFrame(step) : 0;
      if (this.#frame === 0) this.canvas.hidden = true;
    };
    this.#frame = requestAnimationFrame(step);
  }

  #draw(time: number, dt: number): void {
    const pen = this.canvas.getContext('2d');
    if (!pen) return this.stop();
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.#live = this.#live.filter((spark) => time - spark.born < spark.life);
    for (const spark of this.#live) {
      spark.vy += 160 * dt;
      spark.x += spark.vx * dt;
      spark.y += spark.vy * dt;
      pen.globalAlpha = Math.max(0, 1 - (time - spark.born) / spark.life);
      pen.fillStyle = spark.color;
      pen.beginPath();
      pen.arc(spark.x, spark.y, spark.size, 0, Math.PI * 2);
      pen.fill();
    }
    pen.globalAlpha = 1;
  }
}
