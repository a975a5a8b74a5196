// Lets the keyboard reach a text that scrolls inside its box: the box takes focus only while the text is taller than it.
import type { Attachment } from 'svelte/attachments';

export function reachable(label: string): Attachment<HTMLElement> {
  return (box) => {
    const look = () => {
      const scrolls = box.scrollHeight > box.clientHeight;
      for (const [name, value] of Object.entries({ tabindex: '0', role: 'group', 'aria-label': label })) {
        if (scrolls) box.setAttribute(name, value);
        else box.removeAttribute(name);
      }
    };
    const watch = new ResizeObserver(look);
    watch.observe(box);
    return () => watch.disconnect();
  };
}
