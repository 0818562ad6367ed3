"""What a sweep's page has beside the house's style sheet."""

STYLE = """
:root { --m1: #2456a6; --m2: #b5651d; --m3: #2e7d5b; --m4: #8a4fa3; --m5: #a8324a; --m6: #4a8fa8;
  --m7: #7a7326; --m8: #5b5f6b; }
@media (prefers-color-scheme: dark) { :root { --m1: #9cc2ff; --m2: #f0ae74; --m3: #74d3a5;
  --m4: #cfa3e6; --m5: #f28fa1; --m6: #8fd0e6; --m7: #d6cd7a; --m8: #b4b7c2; } }
.heat { border-collapse: separate; border-spacing: 3px; width: max-content; max-width: none; }
.heat th, .heat td { padding: 6px 9px; border: 0; }
.heat tbody tr { border: 0; }
.heat thead th { vertical-align: bottom; max-width: 11em; white-space: normal;
  overflow-wrap: anywhere; color: var(--ink); }
.heat thead small { display: block; color: var(--soft); font-size: 12px; font-weight: 400; }
.heat th:first-child { position: sticky; left: 0; background: var(--page); padding-left: 0;
  min-width: 9em; max-width: 16em; white-space: normal; overflow-wrap: anywhere; z-index: 1; }
.heat .by { color: var(--soft); font-size: 12.5px; display: block; }
.heat td { border-radius: 6px; min-width: 66px; font-size: 14.5px; vertical-align: middle;
  background: color-mix(in srgb, var(--accent) var(--way), var(--card)); }
.heat td.deep { color: var(--page); } .heat td.top { font-weight: 700; }
.heat td.none { background: none; color: var(--soft); font-size: 13px; }
.heat td.fail { background: none; color: var(--miss); font-size: 13px; }
.heat tr.group th { font: italic 17px var(--serif); padding-top: 18px; }
.heat tr.group td { background: none; font: italic 15px var(--serif); padding-top: 18px; }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 14px 0 0; font-size: 14px;
  color: var(--soft); align-items: center; }
.key i { display: inline-block; width: 18px; height: 3px; border-radius: 2px; margin-right: 7px;
  vertical-align: middle; background: var(--c); }
.key i.ramp { width: 110px; height: 10px; border-radius: 5px; margin: 0 9px;
  border: 1px solid var(--rule);
  background: linear-gradient(90deg, var(--card), var(--accent)); }
.chart .fit { stroke-dasharray: 4 4; stroke-width: 1.3; opacity: .8; }
.learned { display: grid; gap: 6px 20px; margin-top: 18px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); }
.learned h3 { grid-column: 1 / -1; } .learned > div { align-self: center; }
.law sup { line-height: 0; font-size: 10.5px; }
.law { color: var(--soft); font-size: 13px; margin-top: 4px; font-variant-numeric: tabular-nums; }
.pairs .by { color: var(--soft); font-size: 12.5px; display: block; }
.pairs td { vertical-align: middle; } .pairs th:first-child { min-width: 8.5em; }
.set .wide { margin-top: 6px; }
.card h3 .by { font-weight: 400; color: var(--soft); }
details.set { border-top: 1px solid var(--rule); margin-top: 18px; padding-top: 14px; }
details.set > summary { cursor: pointer; font: 600 19px/1.35 var(--serif); }
details.set > summary .by { font: 14px var(--sans); color: var(--soft); margin-left: 8px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr));
  gap: 18px 44px; margin-top: 14px; }
.two h3, details.set h3 { margin-top: 18px; } .two h3 { margin-top: 0; }
.bars { display: grid; grid-template-columns: minmax(6em, 13em) 1fr auto; gap: 5px 12px;
  margin-top: 8px; font-size: 14px; align-items: center; }
.bars .bar { margin: 0; } .bars .num { color: var(--soft); font-size: 13px; }
.bars span { overflow-wrap: anywhere; min-width: 0; }
.mixed { display: grid; grid-template-columns: 1fr auto; gap: 4px 14px; font-size: 14px;
  padding: 7px 0; border-top: 1px solid var(--rule); align-items: center; }
.mixed span { overflow-wrap: anywhere; min-width: 0; }
.mixed .tiles, .apart .tiles { display: flex; gap: 6px; }
.mixed .tile { width: 52px; padding: 2px; }
.apart { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 14px;
  margin-top: 10px; }
.apart figure { margin: 0; min-width: 0; } .apart .tile { max-width: 132px; }
.apart figcaption { font-size: 12.5px; line-height: 1.35; color: var(--soft); margin-top: 5px;
  overflow-wrap: anywhere; }
.apart figcaption b { color: var(--ink); font-weight: 500; display: block; }
.said { margin: 10px 0 0; padding-left: 1.1em; font-size: 14.5px; max-width: 80ch; }
ul.said { list-style: disc; } ul.said li { margin: 4px 0; overflow-wrap: anywhere; }
@media (max-width: 560px) { .heat th:first-child { min-width: 6.5em; max-width: 8.5em; }
  .heat th, .heat td { padding: 6px 7px; } .heat td { min-width: 54px; } }
.sure { color: var(--ink); font-weight: 600; } td.unsure { color: var(--soft); }
""" + "".join(
    f".m{i}.line {{ stroke: var(--m{i}); }} .m{i}.dot {{ fill: var(--m{i}); }}\n"
    for i in range(1, 9)
)
