def write_page(rows, docs):
    pass
