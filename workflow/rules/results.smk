# IN   everything above
# OUT  fields/{field}/  cells.csv, cells.geojson, field.ome.zarr
#      cells.csv, fields.csv, slides.csv, patients.csv and a .schema.json of each, record.json, report/index.html


localrules:
    manifest,


rule manifest:
    """List fields and their files for a stage that reads many of them."""
    output:
        out("manifests/{manifest}.tsv"),
    log:
        out("logs/manifest/{manifest}.log"),
    params:
        rows=lambda wildcards: manifest_rows(wildcards.manifest),
    run:
        plan.write_manifest(output[0], params.rows)
        Path(log[0]).write_text(f"{len(params.rows)} fields\n", encoding="utf-8")


rule export_field:
    """Write a field's table, outlines and pixels for other programs."""
    input:
        image=lambda wildcards: RUN.present_images(wildcards.field),
        qc=out("fields/{field}/qc.json"),
        nuclei=out("fields/{field}/nuclei.tif"),
        measurements=out("fields/{field}/measurements.parquet"),
        map=out("fields/{field}/anomaly_map.zarr.zip"),
        calls=lambda wildcards: RUN.path(wildcards.field, "slide_calls"),
    output:
        cells=out("fields/{field}/cells.csv"),
        geojson=out("fields/{field}/cells.geojson"),
        ome_zarr=directory(out("fields/{field}/field.ome.zarr")),
    log:
        out("logs/export_field/{field}.log"),
    benchmark:
        out("benchmarks/export_field/{field}.tsv")
    conda:
        "../../envs/export_field.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("export_field"),
        script=script("export_field"),
        image=sheet("image"),
        slide=sheet("slide"),
        patient=sheet("patient", "--patient"),
        channels=RUN.channel_flags(),
        projection=config["projection"],
    shell:
        "python {params.script} --field {wildcards.field} --slide {params.slide} {params.patient}"
        " --image {params.image:q} {params.channels:q} --projection {params.projection}"
        " --qc {input.qc:q} --nuclei {input.nuclei:q} --measurements {input.measurements:q}"
        " --calls {input.calls:q} --anomaly-map {input.map:q} --cells {output.cells:q}"
        " --geojson {output.geojson:q} --ome-zarr {output.ome_zarr:q} > {log:q} 2>&1"


rule aggregate:
    """Join the tables of all fields and count a slide and a patient."""
    input:
        manifest=out("manifests/run.tsv"),
        cells=each("cells"),
        qc=each("qc"),
        anomaly=each("anomaly"),
        summaries=each("slide_summary"),
        false_cac=FALSE_CAC,
    output:
        cells=out("cells.csv"),
        fields=out("fields.csv"),
        slides=out("slides.csv"),
        patients=out("patients.csv"),
        schemas=[
            out(f"{table}.schema.json")
            for table in ("cells", "fields", "slides", "patients")
        ],
    log:
        out("logs/aggregate.log"),
    benchmark:
        out("benchmarks/aggregate.tsv")
    conda:
        "../../envs/aggregate.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=60,
    params:
        code=code("aggregate"),
        script=script("aggregate"),
        probes=len(RUN.probes),
        options=options(
            "calls", "min_cac", "min_assessable", "min_gain_probes", "split_diameters"
        ),
    shell:
        "python {params.script} --fields {input.manifest:q} --cells {output.cells:q}"
        " --simulated-false-cac {input.false_cac:q} --probes {params.probes} {params.options}"
        " --fields-table {output.fields:q} --slides {output.slides:q}"
        " --patients {output.patients:q} > {log:q} 2>&1"


rule record:
    """Record where the results come from."""
    input:
        manifest=out("manifests/run.tsv"),
        qc=each("qc"),
        calls=each("slide_calls"),
        tables=rules.aggregate.output,
        models=model_records(),
        segmenter=segmenter_weights(),
    output:
        record=out("record.json"),
    log:
        out("logs/record_run.log"),
    conda:
        "../../envs/record_run.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=30,
    params:
        code=[code(name) for name in (*provenance.STAGES, "record_run")],
        script=script("record_run"),
        config=recorded_config(),
        models=[f"--model={path}" for path in model_records()],
        segmenter=lambda wildcards, input: (
            ["--segmenter", input.segmenter] if input.segmenter else []
        ),
    shell:
        "python {params.script} --fields {input.manifest:q} --config {params.config:q}"
        " {params.models:q} {params.segmenter:q} --tables {input.tables:q} --record {output.record:q} > {log:q} 2>&1"


rule report:
    """Write the page that a pathologist reads."""
    input:
        manifest=out("manifests/run.tsv"),
        image=[path for field in RUN.fields for path in RUN.present_images(field)],
        nuclei=each("nuclei"),
        overlays=each("overlay"),
        training=each("pseudo_labels_picture", RUN.training_fields),
        curve=out("models/segmenter/curve.png") if RUN.training_fields else [],
        signals=each("signals_picture"),
        maps=each("anomaly_map"),
        tables=rules.aggregate.output,
        record=out("record.json"),
        thumbnails=thumbnails(),
    output:
        report=out("report/index.html"),
    log:
        out("logs/report.log"),
    benchmark:
        out("benchmarks/report.tsv")
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=60,
    params:
        code=code("report"),
        script=script("report"),
        channels=RUN.channel_flags(),
        projection=config["projection"],
        curve=lambda wildcards, input: (
            ["--segmenter-curve", input.curve] if input.curve else []
        ),
        thumbnails=[f"--reference-thumbnails={path}" for path in thumbnails()],
        options=options("report"),
    shell:
        "python {params.script} --fields {input.manifest:q} --cells {input.tables[0]:q}"
        " --fields-table {input.tables[1]:q} --slides {input.tables[2]:q}"
        " --patients {input.tables[3]:q} {params.thumbnails:q} {params.curve:q}"
        " --record {input.record:q}"
        " {params.channels:q} --projection {params.projection} {params.options}"
        " --report {output.report:q} > {log:q} 2>&1"
