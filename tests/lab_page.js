// What a reader of a notebook meets in JupyterLab: scrolls to every cell and describes it.
async () => {
  const panel = document.querySelector('.jp-Notebook .jp-WindowedPanel-outer');
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  const isWide = part => part.clientWidth > 0 && part.scrollWidth > part.clientWidth + 1;
  const name = part => `${part.tagName.toLowerCase()}.${part.classList[part.classList.length - 1]}`;

  // JupyterLab draws a cell when it comes near: a part counts when it has a size, in view.
  const isVisible = async part => {
    part.scrollIntoView({block: 'center'});
    await frame();
    const box = part.getBoundingClientRect(), view = panel.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && box.bottom > view.top && box.top < view.bottom;
  };
  const areVisible = async parts => {
    const found = [];
    for (const part of parts) found.push(await isVisible(part));
    return found;
  };
  const loaded = async picture => {
    await picture.decode().catch(() => {});
    return picture.naturalWidth > 0;
  };

  const leads = async link => {
    const target = new URL(link.href);
    const here = target.href.split('#')[0] === location.href.split('#')[0];
    if (target.origin !== location.origin) return target.protocol === 'https:';
    if (!here) return (await fetch(target)).ok;
    const id = decodeURIComponent(target.hash.slice(1));
    return [...document.querySelectorAll('[id], [data-jupyter-id]')]
      .some(part => part.id === id || part.dataset.jupyterId === id);
  };

  // JupyterLab draws text and outputs a moment after their cell.
  const isDrawn = cell => cell.matches('.jp-MarkdownCell')
    ? cell.querySelector('.jp-RenderedMarkdown > *') !== null
    : [...cell.querySelectorAll('.jp-OutputArea-output')].every(part => part.hasChildNodes());
  const drawn = async cell => {
    const end = performance.now() + 10000;
    while (!isDrawn(cell) && performance.now() < end) await frame();
  };

  const cells = [];
  for (const cell of panel.querySelectorAll('.jp-Cell')) {
    cell.scrollIntoView({block: 'start'});
    await frame();
    await drawn(cell);
    // JupyterLab shows an error in the same way as what was written to stderr.
    const errors = [...cell.querySelectorAll('[data-mime-type="application/vnd.jupyter.stderr"]')];
    const pictures = [...cell.querySelectorAll('.jp-OutputArea-output img')];
    const complete = await Promise.all(pictures.map(loaded));
    const inView = await areVisible(pictures);
    const deadLinks = [];
    for (const link of cell.querySelectorAll('.jp-RenderedHTMLCommon a[href]')) {
      if (!await leads(link)) deadLinks.push(link.getAttribute('href'));
    }
    // An output that is too wide scrolls by itself; what is read must not.
    const wide = [cell, ...cell.querySelectorAll('.jp-InputArea *')].filter(isWide);
    cells.push({
      errors: errors.map(part => part.innerText.trim()),
      pictures: complete.map((isComplete, place) => isComplete && inView[place]),
      frames: await areVisible(cell.querySelectorAll('.jp-OutputArea-output iframe')),
      folded: cell.querySelector('.jp-InputPlaceholder') !== null,
      answers: [...cell.querySelectorAll('details')].map(part => part.open),
      dead_links: deadLinks,
      wide: wide.map(name),
    });
  }
  return {cells, wide: isWide(panel)};
}
