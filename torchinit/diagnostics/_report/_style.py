"""The style sheet of a report: system fonts, light and dark, for a screen of any width and for paper."""

STYLE = """
:root{color-scheme:light dark;--page:#fff;--card:#f6f7f9;--line:#d8dce2;--ink:#15181c;--soft:#535a64;
--link:#1f5fa8;--fill:#9dbfe6;--edge:#2f6db3;--meant:#a8480a;--bad:#b3261e;--tint:#fdf0ef;--good:#1b6b3c}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--card:#1c2026;--line:#363c46;--ink:#e7e9ec;--soft:#a6aeb9;
--link:#8fbcf2;--fill:#34557f;--edge:#7fb0ec;--meant:#f2a35e;--bad:#ff938a;--tint:#2d1d1d;--good:#82d3a3}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);overflow-wrap:break-word;
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:70rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:0;overflow-wrap:anywhere}
h2{font-size:1.25rem;line-height:1.3;font-weight:650;letter-spacing:-.01em;margin:3.25rem 0 .5rem;padding-top:1rem;
border-top:1px solid var(--line)}
h3{font-size:.95rem;line-height:1.4;font-weight:600;margin:0;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:46rem}
a{color:var(--link);text-underline-offset:.15em}
code{font:.9em/1.4 ui-monospace,SFMono-Regular,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;
overflow-wrap:anywhere}
.soft,.count,.axis,.levels{color:var(--soft)}
.count{font-weight:400;white-space:nowrap}
.kicker{color:var(--soft);font-size:.875rem;margin:0 0 .35rem}
.verdict{font-size:1.125rem;line-height:1.5;margin:1.25rem 0 1.5rem;padding:.1rem 0 .1rem 1rem;
border-left:4px solid var(--good)}
.verdict.is-bad{border-color:var(--bad)}
.verdict p{margin:.2rem 0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1px;margin:0;
border:1px solid var(--line);border-radius:.5rem;overflow:hidden}
.facts div{box-shadow:0 0 0 1px var(--line);padding:.75rem 1rem}
.facts dt{color:var(--soft);font-size:.8125rem}
.facts dd{margin:0;font-size:1.125rem;font-weight:600;font-variant-numeric:tabular-nums}
.facts small{display:block;color:var(--soft);font-size:.8125rem;font-weight:400;line-height:1.35}
.facts .bad dd{color:var(--bad)}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;margin:1.5rem 0 0;padding:0;font-size:.9375rem}
.marks{list-style:none;margin:1rem 0 0;padding:0;display:grid;gap:.75rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr))}
.marks li{background:var(--tint);border-left:3px solid var(--bad);border-radius:0 .375rem .375rem 0;
padding:.75rem 1rem;overflow-wrap:anywhere}
.marks p{margin:.2rem 0 0;max-width:none}
.what{color:var(--bad)}
.scroll{overflow-x:auto;margin:1rem 0;border:1px solid var(--line);border-radius:.5rem}
.scroll:focus-visible{outline:2px solid var(--link)}
table{border-collapse:collapse;width:100%;font-size:.875rem;line-height:1.4;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft);white-space:nowrap;background:var(--card)}
tbody tr:last-child td{border-bottom:0}
.number{text-align:right;white-space:nowrap}
td:first-child{min-width:9rem}
tr.bad td{background:var(--tint)}
tr.bad td:last-child{color:var(--bad)}
tr:target td,.panel:target{background:var(--card);outline:2px solid var(--link);outline-offset:-2px}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:.75rem 0;padding:0;list-style:none;font-size:.875rem;
color:var(--soft)}
.key svg{width:1.75rem;height:.75rem;margin-right:.4rem;vertical-align:baseline}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(15.5rem,1fr));gap:1rem;margin:1rem 0}
.panel{margin:0;border:1px solid var(--line);border-radius:.5rem;padding:.75rem .875rem;break-inside:avoid;min-width:0;
display:flex;flex-direction:column}
.panel.bad{border-color:var(--bad)}
.panel p{font-size:.8125rem;line-height:1.4;margin:.15rem 0 0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.panel .histogram{margin-top:auto;padding-top:.6rem}
.histogram svg{display:block;width:100%;height:5.5rem;border-bottom:1px solid var(--soft)}
.axis{display:flex;justify-content:space-between;gap:.5rem;font-size:.75rem;line-height:1.4;padding-top:.15rem;
font-variant-numeric:tabular-nums}
.axis span{min-width:0;overflow-wrap:anywhere}
.axis span:last-child{text-align:right}
.histogram .axis span{white-space:nowrap}
path{fill:none;vector-effect:non-scaling-stroke}
.values{fill:var(--fill);stroke:none}
.meant{stroke:var(--meant);stroke-width:1.75px}
.bad .values{fill:var(--bad);opacity:.55}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1.5rem 2rem;margin:1rem 0}
figure{margin:0;min-width:0;break-inside:avoid}
figcaption{font-size:.9375rem;margin-bottom:.6rem}
figcaption strong{display:block}
.scales{display:grid;grid-template-columns:auto minmax(0,1fr);column-gap:.5rem}
.scales svg{display:block;width:100%;height:12rem;border:1px solid var(--line);border-width:0 0 1px 1px;overflow:visible}
.scales .axis{grid-column:2}
.scales .axis span{max-width:48%}
.levels{position:relative;width:3.25rem;font-size:.75rem;font-variant-numeric:tabular-nums}
.levels span{position:absolute;right:0;transform:translateY(-50%);line-height:1}
.grid{stroke:var(--line);stroke-width:1px}
.line{stroke:var(--edge);stroke-width:1px;opacity:.55}
.trend{stroke:var(--soft);stroke-width:1.25px;stroke-dasharray:5 4}
.dots{stroke:var(--edge);stroke-width:5px;stroke-linecap:round}
.dots.beside{stroke:var(--fill);stroke-width:4px}
.dots.meant-zero{stroke:var(--soft);stroke-width:4px}
.dots.bad{stroke:var(--bad);stroke-width:7px;stroke-linecap:square}
details{margin:1rem 0}
summary{cursor:pointer;color:var(--link);font-size:.9375rem}
footer{margin-top:3.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.8125rem}
@media (max-width:40rem){main{padding:1.5rem 1rem 3rem}h1{font-size:1.4rem}h2{margin-top:2.5rem}
.facts{grid-template-columns:1fr 1fr}.facts div{padding:.6rem .75rem}.levels{width:2.75rem}
.scales svg{height:10rem}}
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--line:#bbb;--ink:#000;--soft:#444;--link:#000;
--fill:#b9d0ec;--edge:#2f6db3;--meant:#a8480a;--bad:#b3261e;--tint:#fff;--good:#1b6b3c}
body{font-size:10pt}main{max-width:none;padding:0}nav{display:none}a{text-decoration:none}
h2{margin-top:1.5rem}h2,h3,h2+p,.key,summary,figcaption{break-after:avoid}
tr,.marks li,.verdict,.facts,figure,.panel{break-inside:avoid}.marks,.panels{gap:.5rem}
.marks li{padding:.15rem .75rem}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.scroll{overflow:visible;border:0}table{font-size:8pt}th,td{padding:.2rem .4rem;white-space:normal}
.number{white-space:normal}td:first-child{min-width:10em}
.panels{grid-template-columns:repeat(3,1fr)}.pair{grid-template-columns:1fr 1fr}
details::details-content{content-visibility:visible;block-size:auto}summary{color:var(--ink);font-weight:600}}
"""
